"""The Lambda dialect and what runs behind it.

- ``dialect``, ``routes`` and the modules named after AWS's nouns: the Lambda API.
- ``running``: what all of the room hand each other when a function runs, as plain values.
- ``environments``: the Runtime API and the pool of environments; ``sandbox``: the walls around one of them.
- ``mappings``: event source mappings and their pollers; ``queue``: asynchronous invocations; ``targets``: where their
  outcomes go; ``push``: events from outside that arrive by HTTP; ``journal``: logs and usage.
"""
