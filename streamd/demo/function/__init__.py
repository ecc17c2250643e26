"""The demo's function, as it is deployed: a handler of plain Python that needs nothing but what is zipped with it."""
