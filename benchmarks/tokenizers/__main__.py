import sys

from benchmarks.tokenizers import main

main(sys.argv[1:])
