"""Weight files: fetches them and converts them into weights of our networks."""

from tools.support.bootstrap import begin_module

begin_module()
