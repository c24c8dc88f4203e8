# The toolkit on a CPU. Not run where it was written, which has no Docker: its steps are those that `make caffe` takes on Debian 12.
#   docker build -t dilation .
#   docker run --rm -v "$PWD/demo:/toolkit/demo" dilation           make demo, the report in demo/
#   docker run --rm -it -v "$PWD/data:/toolkit/data" dilation bash   everything else
FROM debian:12-slim
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates git make python3
WORKDIR /toolkit
COPY . .
RUN make caffe && rm -rf /root/.cache /var/lib/apt/lists/*
CMD ["make", "demo"]
