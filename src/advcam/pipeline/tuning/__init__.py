"""`advcam tune`: settings chosen on a labelled handful, under a budget of passes, with what that gains."""
