"""A simulator of the WhatsApp Cloud API: one process on loopback that answers sends and posts signed webhooks.

Run it as ``python -m dev.whatsapp --port N …`` (``--help`` lists the options). It stores nothing.

Business time (windows, limits, timestamps, scripts) comes from the development clock where one is given; the delivery
of webhooks (collecting, backoff, timeouts) uses the machine's. The effect of disorder on an update follows from the
seed and the message's id, not from the order in which tasks run.

Graph API
    POST /v{N}.0/{phone_number_id}/messages   text, template, interactive (button, list, cta_url), read receipts
    GET  /v{N}.0/{media_id}                   a link to a file; ids live 7 days, those of uploads 30, links 5 minutes
    GET  /whatsapp_business/attachments/      that link: the file, with the token
    POST /v{N}.0/{phone_number_id}/media      multipart: uploads a document

Control API, JSON in and out; a body it cannot read is answered 400 with the reason
    POST /_simulator/people      {id, phone?, bsuid?, name?, username?, country?, on_whatsapp?} or a list of them.
                                 Without a phone the person is known by BSUID only. An unregistered number belongs
                                 to an ordinary person whose id is the number.
    POST /_simulator/templates   [{name, language, body?, parameters?, buttons?, status?, category?}]; a button is a
                                 quick reply's title or {type: quick_reply|url|phone_number, text, url?}
    POST /_simulator/scripts     {person, on: {template|contains|button|line|any}, do, value?, after?, times?},
                                 or a list; do: tap|type|read|ignore|stop|react|document; ``after`` in seconds of
                                 business time; ``times`` 1 by default, null for always. The first script that fits a
                                 message is used up by it, so two with the same ``on`` are played one after the other.
                                 ``template`` also fits a versioned name: rights_request fits rights_request_v3.
    POST /_simulator/inbound     {from, line?, kind: text|tap|document|reaction|image, text?, button?, message?,
                                 quoted?, filename?, mime?, content?} -> {wamid}. A tap is on the newest message
                                 offering the button, or on ``message``; ``quoted`` is a wamid, or true for the newest
                                 message. A reaction's emoji is its ``text``; a file's ``content`` is in base64.
    POST /_simulator/faults      {kind, count?, code?, seconds?, match?: {to?, line?}}; ``to`` is a number, BSUID or
                                 person. timeout_after_accept: sent, never answered · timeout_before: neither · hang:
                                 handled only after ``seconds``, even if the caller has gone · refuse_connection: reset
                                 without an answer · http_500, http_503: nothing accepted ·
                                 error_code: Meta's answer with ``code``
    POST /_simulator/settings    {webhook_url?, disorder?, accept_any_template?}
    POST /_simulator/verify      asks the webhook to prove its verify token -> {verified}
    POST /_simulator/reset       forgets everything; settings return to the command line's
    GET  /_simulator/messages    ?person=&since=&line=  what people were sent, oldest first
    GET  /_simulator/replies     ?person=&since=&line=  what people sent, oldest first
    GET  /_simulator/counts      totals, errors by code, callback data seen twice, webhooks posted and posted again
    GET  /_simulator/idle        {busy: […], next_due, counter}: busy while a webhook is unanswered
    GET  /healthz
"""
