# A stand-in for gcr.io/distroless/cc-debian12, for a machine that no image registry answers: the same packages of Debian,
# unpacked, with their records for scanners. `make cluster` builds it for a node; a release is built on the original.
FROM debian:bookworm-slim AS packages
ARG PACKAGES="base-files gcc-12-base libc6 libgcc-s1 libgomp1 libssl3 libstdc++6 media-types netbase tzdata"
WORKDIR /build
# its packages are as new as Debian's release, as those of the original
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get download ${PACKAGES} \
    && mkdir -p /root-of-image/var/lib/dpkg/status.d /root-of-image/etc/ssl/certs /root-of-image/tmp \
    && for package in *.deb; do \
        dpkg-deb --extract "$package" /root-of-image \
        && dpkg-deb --field "$package" > "/root-of-image/var/lib/dpkg/status.d/$(dpkg-deb --field "$package" Package)" \
        || exit 1; \
    done \
    && find /root-of-image/usr/share -mindepth 1 -maxdepth 1 ! -name doc ! -name zoneinfo -exec rm -r {} + \
    && find /root-of-image/usr/share/doc -type f ! -name copyright -delete \
    && cp /etc/ssl/certs/ca-certificates.crt /root-of-image/etc/ssl/certs/ \
    && printf 'root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' > /root-of-image/etc/passwd \
    && printf 'root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\n' > /root-of-image/etc/group \
    && printf 'hosts: files dns\n' > /root-of-image/etc/nsswitch.conf \
    && chmod 1777 /root-of-image/tmp

FROM scratch
COPY --from=packages /root-of-image /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
