# Everything from images to the report, in a container: what `make report` makes is in _runs and _site.
#
#   docker build -t leukonb .
#   docker run --rm -v "$PWD/out:/home/leukonb/out" leukonb make report OUT=/home/leukonb/out/_runs
#
# Images of your own, read only: -v /path/to/images:/images:ro ... make report DATA=/images OUT=/home/leukonb/out/_runs
FROM python:3.12-slim-bookworm

# Debian keeps one version of a package at a time: one named here would soon be gone. The Python is what decides numbers.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*

# No run needs a right that an ordinary user lacks; records name this user's checkout, never the machine's.
RUN useradd --create-home leukonb
USER leukonb
WORKDIR /home/leukonb/leukonb
COPY --chown=leukonb:leukonb . .

# The exact environment of .lock, checked by its hashes; without a graphics card, as while an image is built.
RUN make .venv/.ready-cpu

CMD ["make", "report"]
