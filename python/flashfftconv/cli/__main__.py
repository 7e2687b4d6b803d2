"""``python -m flashfftconv.cli`` does what the command ``flashfftconv`` does."""

from . import main

main()
