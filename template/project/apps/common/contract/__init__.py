"""The contract of each feature: what messages.py says, in one committed file, compared before a browser meets it.

It is used by manage.py contract, and by the lines of apps.py that register its checks and its pages.
"""
