"""What lies outside: where ARNs are reached, signed calls to them, and the destinations of outcomes."""
