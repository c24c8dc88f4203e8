"""The commands of the toolkit, and the code behind them."""
