"""Turns the engine's errors into AWS's faults: the one place where a reason gets its AWS code and sentence."""

from datetime import UTC, datetime

from streamd.core.limits import ITERATOR_AGE_MS_MAX
from streamd.core.shard_tree import shard_id
from streamd.errors import (
    BlockDamaged,
    CatalogDamaged,
    ConsumerNotFound,
    GroupFull,
    GroupNotFound,
    IteratorExpired,
    LeaseLost,
    MasterKeyMissing,
    PagesDamaged,
    PlaceBehind,
    PutForgotten,
    PutMismatched,
    ShardClosed,
    ShardMissing,
    ShardNotFound,
    StoreFailed,
    StoreFull,
    StreamdError,
    StreamExists,
    StreamNotActive,
    StreamNotFound,
    SubscriptionTaken,
    TokenExpired,
    TokenInvalid,
)
from streamd.errors_auth import (
    AuthenticationError,
    IncompleteSignature,
    InvalidSignature,
    MissingAuthenticationToken,
    UnrecognizedClient,
)
from streamd.kinesis.faults import Fault, InternalFailure
from streamd.kinesis.naming import invalid_argument, stream_not_found

__all__ = ["fault_of"]

_CODE_BY_AUTHENTICATION_ERROR = {
    MissingAuthenticationToken: "MissingAuthenticationTokenException",
    IncompleteSignature: "IncompleteSignatureException",
    InvalidSignature: "InvalidSignatureException",
    UnrecognizedClient: "UnrecognizedClientException",
}


def fault_of(error: StreamdError, *, account_id: str) -> Fault:
    """Give the fault that AWS would answer with."""
    match error:
        case AuthenticationError():
            return _authentication_fault(error)
        case StreamNotFound():
            return stream_not_found(error.stream_name, account_id)
        case StreamExists():
            sentence = f"Stream {error.stream_name} under account {account_id} already exists."
            return Fault("ResourceInUseException", sentence)
        case StreamNotActive():
            return Fault(
                "ResourceInUseException",
                f"Stream {error.stream_name} under account {account_id} not ACTIVE, instead in state {error.status}",
            )
        case ShardNotFound():
            return Fault(
                "ResourceNotFoundException",
                f"Shard {error.shard_id} in stream {error.stream_name} under account {account_id} does not exist",
            )
        case ConsumerNotFound():
            sentence = (
                f"Consumer {error.consumer_name} under stream: {error.stream_name}, account {account_id} not found."
            )
            return Fault("ResourceNotFoundException", sentence)
        case GroupNotFound() | GroupFull() | LeaseLost() | PlaceBehind():
            return _group_fault(error)
        case SubscriptionTaken():
            return Fault("ResourceInUseException", _taken_sentence(error, account_id))
        case IteratorExpired() | TokenExpired() | TokenInvalid():
            return _token_fault(error)
        case BlockDamaged():
            return InternalFailure(
                f"Shard {shard_id(error.shard_index)} cannot be read at position {error.position}: {error.reason}."
            )
        case CatalogDamaged():
            return InternalFailure(f"The stream cannot be used: {error}.")
        case PutForgotten() | PutMismatched():
            return _sequence_fault(error)
        case PagesDamaged():
            return InternalFailure(f"It cannot be read: {error}.")
        case MasterKeyMissing():
            return Fault("KMSAccessDeniedException", str(error))
        case StoreFull():
            return InternalFailure(f"Nothing was stored: {error}.")
        case StoreFailed():
            # After a failed sync nobody knows what the disk holds.
            return InternalFailure(f"Nothing is known to be stored: {error}.")
        case ShardClosed() | ShardMissing():
            return InternalFailure("The stream changed while it was used; try again.")
        case _:
            return InternalFailure("The server failed to process the request.")


def _token_fault(error: IteratorExpired | TokenExpired | TokenInvalid) -> Fault:
    match error:
        case IteratorExpired():
            return Fault("ExpiredIteratorException", _expired_sentence(error))
        case TokenExpired():
            return Fault("ExpiredNextTokenException", "NextToken has expired.")
        case TokenInvalid():
            return invalid_argument("Invalid NextToken.")


def _group_fault(error: GroupNotFound | GroupFull | LeaseLost | PlaceBehind) -> Fault:
    match error:
        case GroupNotFound():
            return Fault("ResourceNotFoundException", f"Group {error.group} not found.")
        case GroupFull():
            return Fault("LimitExceededException", f"Nothing was added: {error}.")
        case LeaseLost():
            return Fault("LeaseLostException", f"Nothing was changed: {error}.")
        case PlaceBehind():
            return Fault("PlaceBehindException", f"Nothing was changed: {error}.")


def _sequence_fault(error: PutForgotten | PutMismatched) -> Fault:
    # A code of our own: taken for any other bad request it would be sent again under a new number.
    return Fault("ProducerSequenceException", f"The request cannot be repeated: {error}.")


def _authentication_fault(error: AuthenticationError) -> Fault:
    for kind, code in _CODE_BY_AUTHENTICATION_ERROR.items():
        if isinstance(error, kind):
            return Fault(code, str(error))
    return Fault("AccessDeniedException", str(error))


def _taken_sentence(error: SubscriptionTaken, account_id: str) -> str:
    place = f"{account_id}:{error.stream_name}:{error.shard_id}:{error.consumer_name}"
    return f"Another active subscription exists for this consumer: {place}"


def _expired_sentence(error: IteratorExpired) -> str:
    created, now = _java_date(error.created_ms), _java_date(error.now_ms)
    return (
        f"Iterator expired. The iterator was created at time {created} while right now it is {now} "
        f"which is further in the future than the tolerated delay of {ITERATOR_AGE_MS_MAX} milliseconds."
    )


def _java_date(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    # English whatever the locale, as AWS writes it.
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{days[moment.weekday()]} {months[moment.month - 1]} {moment:%d %H:%M:%S} UTC {moment.year}"
