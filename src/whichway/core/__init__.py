"""The nouns: shapes of answers, tasks, models, strategies. Standard library only."""
