"""`cxrs-edge serve`: a page and a JSON API over one grader. Start reading at `cxrs_edge.serve.app`.

    guard   who may ask: Host, Origin, token; the headers of every answer
    upload  a request's body -> bytes, bounded in size and time
    desk    one engine, a bounded number of requests that wait for it
    app     the routes
    server  sockets, deadlines, an orderly end

Nothing is written to disk, and no answer is kept.
"""
