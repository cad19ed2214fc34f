#!/bin/sh
# Stands in for the compile worker in tests: it answers with the file beside the link by which it
# was called, and notes that it ran.
echo run >>"$0.runs"
exec /bin/cat "$0.answer"
