"""`python -m animal4d`: the command line where the script `animal4d` is not on the path."""

from animal4d.cli.main import main

if __name__ == "__main__":
    main()
