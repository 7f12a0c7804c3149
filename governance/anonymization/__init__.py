"""What is done to a personal value so that it may go on: operators, and the forms they rest on.

`canonical` brings a value to the one form that joins survive in, `generalization` makes it coarser,
`operators` are what a column plan names. Pure functions: keys come in as an argument, nothing here
touches a database.
"""
