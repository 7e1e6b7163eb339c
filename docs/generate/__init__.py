"""What the site has beyond the pages of docs/, made at build time of what stands elsewhere: nothing is said twice."""
