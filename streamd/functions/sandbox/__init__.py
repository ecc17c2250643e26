"""The walls around one environment, in three tiers: bubblewrap, a process of another user, none."""
