"""Events from outside that arrive by HTTP: the routes, the door behind them, and what SNS's messages need."""
