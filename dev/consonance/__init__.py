"""A simulator of Consonance: its documented GraphQL API, an extended profile that is not public, and signed pushes.

In: POST /graphql (Bearer key). Out: CloudEvents to --webhook-url. All data is in memory, from the same seed each time.

Control API, all under /_simulator, JSON in and out; an invalid command is answered 400 or 404 with the reason.

  GET, PATCH works/{id}           title, subtitle, stage (its name or number), acronym, season, marketing_tier,
                                  embargo_until
  PATCH      works/{id}/components   front_cover, full_cover, jacket_copy, metadata, interior_files, ebook_file:
                                  missing, draft, in_review, final or rejected
  GET, PATCH products/{id}        title, subtitle, prefix, isbn, status, price, (planned_)publication_date
  GET, PATCH contacts/{id}        given_name, key_names, country, town, phones, contact_tags, biographical_note
  POST       rights_requests      work_id, rights_holder, respond_by; terms, asset, kind, right_type, …
  PATCH      rights_requests/{id} terms, or status cancelled or closed
  POST       milestones           work_id, name, milestone_key, due_on, affected [{contact_id, role}]
  PATCH      milestones/{id}      due_on, done_on (null takes it away), reason
             these four push the event that belongs to them, unless "push": false
  POST       push                 type (short or full), subject, data, id; a work in data may be its number, a party
                                  {contact_id, role}
  POST       push_batch           {"events": [as above]}, in one body
  GET        pushes               each with its state, every answer it got, and its body
  POST, GET, DELETE faults        kind, count (null: until deleted), operation (a root field or operation name);
                                  ok_with_errors (place graphql or payload, message), latency and write_then_timeout
                                  (seconds), http_503, revoked_key, edit_before_write (work, field, value: with an
                                  operation the edit lands before that is answered, so a re-read sees it; without one
                                  just before the next mutation of that work, which no client can see)
  GET        state/{kind}         works, products, contacts, rights_requests, acquisitions, acknowledgements, …
  GET        log?operation=       every mutation: input, outcome (applied, unchanged, refused), at, and how often that
                                  very input was applied by then
  GET        idle                 busy while a push is undelivered or a request in hand
  POST       reset                the seed again; no faults, no log, no pushes
"""
