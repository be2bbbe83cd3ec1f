"""People in the loop: who is asked, who voted, and the trace of what each did."""
