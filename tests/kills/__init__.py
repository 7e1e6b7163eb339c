"""Runners of one project that are killed and troubled at random, and what is asked of what they leave."""
