"""Live models: pages that show the rows of a query, and stay equal to the database.

A page's query is kept in the process that serves the page, once for all who see the same. Whatever writes to the table
publishes, after its commit, no more than that something has changed; the query is then read again, and the pages get
the difference. So what they show is always a result of the query itself, in its order, with the database's values.

declaration: what a feature's live.py says; publishing: from a write to its notification; view: the query of some pages;
consumer and writing: the pages themselves, and what they ask to change.
"""
