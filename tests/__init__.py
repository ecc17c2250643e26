"""The tests. They enter by the door a user uses."""
