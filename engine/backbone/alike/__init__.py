"""The base model of the world Alike: what it reads, and how it is made."""
