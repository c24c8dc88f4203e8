"""Weight files: where they come from, and how they become weights of our networks."""

from tools.support.bootstrap import begin_module

begin_module()
