"""Running unattended: what a run did and how it fares, in files that machines read, and how it is told to end."""
