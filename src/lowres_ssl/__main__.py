"""`python -m lowres_ssl` is the console script."""

from lowres_ssl.cli.main import main

if __name__ == "__main__":
    main()
