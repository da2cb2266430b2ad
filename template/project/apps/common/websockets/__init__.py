"""The realtime layer that every feature builds on.

A feature needs four names: BaseWebSocketConsumer (base_consumer), Message and MessageError (messages), and broadcast
(broadcast). Everything else here serves those four.
"""
