# The job on Debian's own Python, without Debian around it: the first stage puts a root file system
# together, the last ones start from nothing and copy in only that.
#
#   docker build .                    the job and the migrations of this folder
#   docker build --target runner .    the job alone, for a team that brings a folder of its own
#
# Behind a proxy that inspects TLS, add `--secret id=ca,src=bundle.pem`: pip trusts it, nothing keeps it.
# `--build-arg EXTRAS=otel` adds OpenTelemetry's SDK, for traces.
# The label of the revision comes from `--build-arg REVISION=…`, or by itself with BUILDX_GIT_LABELS=1.

FROM debian:trixie-slim AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]

RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 python3-pip \
 && rm -rf /var/lib/apt/lists/*

# The standard library, less what cannot work here or is not for a job. What stays is more than the
# job imports today, so that a new import seldom comes back to this list; tests/image imports all
# that the job and its packages name.
RUN mkdir -p /rootfs/usr/bin /rootfs/usr/lib \
 && cp /usr/bin/python3.13 /rootfs/usr/bin/ \
 && cp -R /usr/lib/python3.13 /rootfs/usr/lib/ \
 && cd /rootfs/usr/lib/python3.13 \
    # tests, and tools for people at a prompt
 && rm -rf EXTERNALLY-MANAGED __phello__ _pyrepl antigravity.py bdb.py cProfile.py cmd.py code.py \
      compileall.py doctest.py modulefinder.py pdb.py pickletools.py profile.py pstats.py pyclbr.py \
      pydoc.py pydoc_data rlcompleter.py sitecustomize.py tabnanny.py test this.py timeit.py \
      trace.py turtle.py unittest venv zipapp.py \
    # other networks, processes and platforms
 && rm -rf _aix_support.py _android_support.py _apple_support.py _ios_support.py _osx_support.py \
      asyncio ftplib.py http imaplib.py mailbox.py multiprocessing nturl2path.py poplib.py pty.py \
      smtplib.py socketserver.py tty.py webbrowser.py wsgiref xml xmlrpc \
    # modules whose shared libraries are left out, or of which a C part does the work
 && rm -rf _pydatetime.py _pydecimal.py _pyio.py bz2.py curses dbm lzma.py shelve.py sqlite3 ssl.py \
 && cd lib-dynload \
 && rm -f _asyncio.* _bz2.* _ctypes_test.* _curses* _dbm.* _hashlib.* _interp* _lsprof.* _lzma.* \
      _multiprocessing.* _posixshmem.* _sqlite3.* _ssl.* _test* _uuid.* _xx* readline.* xx* \
    # character sets of East Asia; the job reads UTF-8
 && rm -f _codecs_* _multibytecodec.*

# What an extra needs of the library beyond that.
ARG EXTRAS=
RUN case "$EXTRAS" in \
      '') ;; \
      otel) cd /usr/lib/python3.13 && cp -R --parents http ssl.py lib-dynload/_ssl.* /rootfs/usr/lib/python3.13/ ;; \
      *) echo "EXTRAS=$EXTRAS: there is otel" >&2; exit 1 ;; \
    esac

# Packages by hash, wheels only: nothing of a package runs while it is installed.
COPY requirements.txt requirements-otel.txt /
RUN --mount=type=secret,id=ca,required=false \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
 && { python3 -m pip install --root-user-action=ignore --disable-pip-version-check --no-cache-dir \
        --no-compile --only-binary=:all: --require-hashes --target=/rootfs/app --requirement="/requirements${EXTRAS:+-$EXTRAS}.txt" \
        2>&1 | tee /pip.txt \
      || { ! grep --quiet CERTIFICATE_VERIFY_FAILED /pip.txt \
           || printf '\n%s\n%s\n' 'A proxy that inspects TLS? Give pip its certificate: BUILD_CA=/path/to/bundle.pem' \
                'before `make image` or `docker compose build`, or --secret id=ca,src=/path/to/bundle.pem here.'; \
           exit 1; }; } \
 && rm -rf /rootfs/app/bin

# Shared libraries: whatever the interpreter, its modules and the packages ask the loader for. One
# that is missing stops the build here and not in a cluster.
RUN ln -s usr/lib /rootfs/lib \
 && ln -s usr/lib64 /rootfs/lib64 \
 && mkdir /rootfs/usr/lib64 \
 && find /rootfs/usr /rootfs/app -type f \( -name '*.so*' -o -name python3.13 \) -exec ldd {} + > /asked.txt \
 && ! grep 'not found' /asked.txt \
 && grep --only-matching --extended-regexp '[[:space:]]/(usr/)?lib[^ :]*' /asked.txt | sort --unique > /found.txt \
 && xargs cp --dereference --parents --target-directory=/rootfs < /found.txt

# What name resolution, libpq and TLS look up; a name for the user is for those who read `ls -l`.
RUN mkdir -p /rootfs/etc/ssl/certs \
 && cp /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/ \
 && cp --dereference /etc/os-release /rootfs/etc/ \
 && echo 'hosts: files dns' > /rootfs/etc/nsswitch.conf \
 && printf '%s\n' root:x:0:0:root:/:/none migrator:x:65532:65532:migrator:/:/none > /rootfs/etc/passwd \
 && printf '%s\n' root:x:0: migrator:x:65532: > /rootfs/etc/group

# The Debian packages behind all this: their versions where scanners look in an image that has no
# package manager, and their licences.
RUN mkdir -p /rootfs/var/lib/dpkg/status.d \
 && { printf '%s\n' ca-certificates libpython3.13-minimal libpython3.13-stdlib python3.13-minimal; \
      xargs realpath < /found.txt | xargs dpkg --search | sed 's/:.*//'; } | sort --unique > /owners.txt \
 && while read -r owner; do \
      dpkg-query --status "$owner" > "/rootfs/var/lib/dpkg/status.d/$owner"; \
      cp --dereference --parents "/usr/share/doc/$owner/copyright" /rootfs; \
    done < /owners.txt

# Bytecode that is never checked against its source: the file system is read-only, and a stat less
# for each import. The library goes without its sources (half its size); the job and its packages
# keep theirs, so that a traceback shows the line.
RUN python3 -m compileall -q -b -s /rootfs -p / --invalidation-mode=unchecked-hash /rootfs/usr/lib/python3.13 \
 && find /rootfs/usr/lib/python3.13 \( -name '*.py' -o -name '__pycache__' \) -prune -exec rm -r {} + \
 && python3 -m compileall -q -s /rootfs -p / --invalidation-mode=unchecked-hash /rootfs/app


FROM build AS job
COPY entrypoint.py /job/app/
COPY migrator/ /job/app/migrator/
# By .image a failed run knows that its files are part of an image, where they are not mounted. A
# checkout made under umask 077 must not shut out the user of the container.
RUN python3 -m compileall -q -s /job -p / --invalidation-mode=unchecked-hash /job/app \
 && touch /job/app/.image \
 && chmod -R u=rwX,go=rX /job


FROM build AS migrations
COPY migrations/ /folder/app/migrations/
RUN chmod -R u=rwX,go=rX /folder


FROM scratch AS runner
COPY --from=build /rootfs/ /
COPY --from=job /job/ /
WORKDIR /app
USER 65532:65532
# libpq's own OpenSSL looks for certificates where its packagers built it; this makes
# `sslrootcert=system` work.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# -E: a PYTHON* variable of the cluster changes nothing. -S: all packages lie beside entrypoint.py,
# no site directory is searched. -B: nothing is written. Text is UTF-8 whatever LANG says.
ENTRYPOINT ["/usr/bin/python3.13", "-E", "-S", "-B", "-X", "utf8", "/app/entrypoint.py"]
# No HEALTHCHECK: a job is healthy when it ends with 0, and its exit code says so. A check that runs
# beside it could only say that the process exists; for "is the schema there?" there is `wait`.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="migrator" \
      org.opencontainers.image.description="Applies a folder of SQL to PostgreSQL, once and in order." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"


FROM runner
COPY --from=migrations /folder/ /
