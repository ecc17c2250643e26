"""What is written down about functions: what they print, how much they are used, and what that would cost."""
