"""Who is stepped when: the objective on lanes, the loop that steps, retires and refills, and the result."""
