"""How asynchronous invocations are settled: the five operations on a function's event invoke config."""

from dataclasses import replace

from streamd.core.function import EventSettings, Function
from streamd.functions.calls import Answer, Call
from streamd.functions.documents import event_settings_document
from streamd.functions.faults import invalid, not_found
from streamd.functions.host import Host
from streamd.functions.pages import page_of

__all__ = [
    "delete_function_event_invoke_config",
    "get_function_event_invoke_config",
    "list_function_event_invoke_configs",
    "put_function_event_invoke_config",
    "update_function_event_invoke_config",
]


async def put_function_event_invoke_config(host: Host, call: Call) -> Answer:
    """Set everything; what is not sent has AWS's default again. Raises Fault."""
    return await _set(host, call, is_merge=False)


async def update_function_event_invoke_config(host: Host, call: Call) -> Answer:
    """Set what is sent, and leave the rest. Raises Fault."""
    return await _set(host, call, is_merge=True)


async def get_function_event_invoke_config(host: Host, call: Call) -> Answer:
    """Tell it. Raises Fault."""
    function, qualifier = _qualified(host, call)
    return Answer(document=event_settings_document(function, qualifier, _present(function, qualifier)))


async def delete_function_event_invoke_config(host: Host, call: Call) -> Answer:
    """Go back to AWS's defaults. Raises Fault."""
    function, qualifier = _qualified(host, call)

    def decide(present: Function) -> Function:
        _present(present, qualifier)
        rest = {each: told for each, told in present.event_settings.items() if each != qualifier}
        return replace(present, event_settings=rest)

    await host.change(function, decide)
    return Answer(status=204)


async def list_function_event_invoke_configs(host: Host, call: Call) -> Answer:
    """List those of a function's versions and aliases. Raises Fault."""
    function, _ = host.named(call.members["FunctionName"])
    chosen, marker = page_of(host, sorted(function.event_settings), call, key=str)
    documents = [
        event_settings_document(function, qualifier, function.event_settings[qualifier]) for qualifier in chosen
    ]
    return Answer(document={"FunctionEventInvokeConfigs": documents, **marker})


async def _set(host: Host, call: Call, *, is_merge: bool) -> Answer:
    function, qualifier = _qualified(host, call)
    members = call.members
    given = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")
    if not any(members.get(member) is not None for member in given):
        raise invalid("You must specify at least one of error handling or destination setting.")
    targets = members.get("DestinationConfig") or {}
    on_success = (targets.get("OnSuccess") or {}).get("Destination") or None
    on_failure = (targets.get("OnFailure") or {}).get("Destination") or None
    for target in (on_success, on_failure):
        if target is not None:
            _check(host, function, target)

    def decide(present: Function) -> Function:
        told = _present(present, qualifier) if is_merge else EventSettings()
        told = replace(
            told,
            retry_count_max=members.get("MaximumRetryAttempts", told.retry_count_max),
            age_s_max=members.get("MaximumEventAgeInSeconds", told.age_s_max),
            modified_ms=host.clock.now_ms(),
        )
        if "OnSuccess" in targets or not is_merge:
            told = replace(told, on_success=on_success)
        if "OnFailure" in targets or not is_merge:
            told = replace(told, on_failure=on_failure)
        return replace(present, event_settings={**present.event_settings, qualifier: told})

    function = await host.change(function, decide)
    return Answer(document=event_settings_document(function, qualifier, function.event_settings[qualifier]))


def _check(host: Host, function: Function, target: str) -> None:
    """Refuse a destination that cannot be reached, and the function itself. Raises Fault."""
    if target.startswith(function.arn):
        raise invalid("You can't specify the function as a destination for itself.")
    host.require_target(target)


def _qualified(host: Host, call: Call) -> tuple[Function, str]:
    function, name = host.named(call.members["FunctionName"], call.get("Qualifier"))
    return function, host.require_qualifier(function, name)


def _present(function: Function, qualifier: str) -> EventSettings:
    told = function.event_settings.get(qualifier)
    if told is None:
        raise not_found(f"The function {function.arn}:{qualifier} doesn't have an EventInvokeConfig")
    return told
