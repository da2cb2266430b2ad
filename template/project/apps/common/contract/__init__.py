"""The contract of each feature: what messages.py says, in one committed file, compared before a browser meets it.

It is used by manage.py contract, by checks/contract.py, and by the call in apps.py that registers it.
"""
