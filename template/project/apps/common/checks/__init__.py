"""manage.py check: errors that only a browser would show; with --deploy, those that only production would show.

common.E001  an import that no static file answers to
common.E002  an import by the folder of an app, and not by the path that its static files are collected to
common.E003  an endpoint that no WebSocket route serves
common.E004  a runserver that speaks no WebSocket
common.E005  no ASGI_APPLICATION
common.E006  an ASGI application for HTTP alone
common.E007  no channel layer
common.E008  no REDIS_URL
common.E009  a feature that is not installed
common.E010  a feature whose WebSocket routes are not in the ASGI application
common.E011  a static file that shadows one of the common part, or is shadowed by it
common.E012  no finder for the static files of apps
common.E013  a service whose endpoint is not in its feature's routing.py
common.E014  a message that its feature's service does not name
common.E015  a page whose base template has no import map
common.E016  sessions in signed cookies, which no logout can revoke
common.E017  a routing.py, a messages.py or an asgi.py that cannot be imported
common.E018  a live model whose rows the database deletes or changes by itself
common.E019  the message of a parent with a field that the parent does not have
common.E020  a template that cannot draw the rows of a live model
common.W001  a channel layer in memory, which one process alone can use
common.W002  any host is allowed, and so a page of any site may connect
common.W003  nothing checks the origin of a WebSocket
common.W004  a feature whose live page is not among the site's addresses
common.W005  an ASGI application that does not show its routes
common.W006  no login page, for a live page that asks to sign in
common.W007  a prefix in Redis that other sites have, too
common.W008  a live model whose manager is no LiveQuerySet

Routes and messages are read by check, runserver and test alone: other commands do not import them.

JavaScript is read in the static folders of the apps in apps/, but for *.min.js and folders named vendor. DEBUG and an
empty ALLOWED_HOSTS are found by Django's own security.W018 and security.W020. SILENCED_SYSTEM_CHECKS in the settings
turns a check off.
"""

from apps.common.checks import base_templates, deploy, endpoints, imports, installation, static_files

__all__ = ["base_templates", "deploy", "endpoints", "imports", "installation", "static_files"]
