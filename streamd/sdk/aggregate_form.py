"""The message inside an aggregated record, as a class of the protobuf library.

It is described here and not generated: three messages and a handful of fields, which the KPL documents and has not
changed since its first version. Needs the package protobuf (``pip install 'streamd[kpl]'``).
"""

from typing import Any

from streamd.errors import ConfigInvalid

__all__ = ["aggregated_record_type"]

# Name, number, kind, and whether there are many.
_AGGREGATE_FIELDS = (
    ("partition_key_table", 1, "string", True),
    ("explicit_hash_key_table", 2, "string", True),
    ("records", 3, "Record", True),
)
_RECORD_FIELDS = (
    ("partition_key_index", 1, "uint64", False),
    ("explicit_hash_key_index", 2, "uint64", False),
    ("data", 3, "bytes", False),
)


def aggregated_record_type() -> Any:
    """Give the class of the message. Raises ConfigInvalid without the package protobuf."""
    try:
        from google.protobuf import (  # noqa: PLC0415 - an extra that few need
            descriptor_pb2,
            descriptor_pool,
            message_factory,
        )
    except ImportError:
        raise ConfigInvalid("aggregate=True needs the package protobuf: pip install 'streamd[kpl]'") from None
    file = descriptor_pb2.FileDescriptorProto(name="aggregate.proto", package="streamd", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto
    for message_name, fields in (("Record", _RECORD_FIELDS), ("AggregatedRecord", _AGGREGATE_FIELDS)):
        message = file.message_type.add(name=message_name)
        for name, number, kind, is_many in fields:
            field = message.field.add(name=name, number=number)
            field.label = kinds.LABEL_REPEATED if is_many else kinds.LABEL_OPTIONAL
            if kind == "Record":
                field.type, field.type_name = kinds.TYPE_MESSAGE, ".streamd.Record"
            else:
                field.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("streamd.AggregatedRecord"))
