"""esrun: train neural networks by evolution, from one command."""

__version__ = "0.1.0"
