"""`python -m advcam` is the command `advcam`."""

from advcam.cli import main

if __name__ == "__main__":
    main()
