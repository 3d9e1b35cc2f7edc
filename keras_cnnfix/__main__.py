"""`python -m keras_cnnfix`."""

import sys

from keras_cnnfix.cli import main

sys.exit(main())
