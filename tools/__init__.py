"""The commands of the toolkit, and the code behind them."""

from tools.support.bootstrap import begin_module

begin_module()
