"""The SDK under measurement: what one process produces and consumes, and the memory that takes."""
