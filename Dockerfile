# esrun as an image. For a processor: docker build -t esrun .
# For NVIDIA GPUs: docker build -t esrun-cuda --build-arg 'JAX=jax[cuda12]' .
# docker run --rm -v "$PWD:/work" esrun task=pendulum strategy=cma_es
FROM python:3.12-slim
ARG JAX=jax

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY scripts/constraints.txt scripts/
COPY esrun esrun
COPY conf conf
RUN pip install --no-cache-dir --constraint scripts/constraints.txt . "$JAX"

# whoever --user names can write there
ENV HOME=/tmp
WORKDIR /work
# not through a shell: what docker stop sends reaches esrun, which saves its state
ENTRYPOINT ["esrun"]
CMD ["--help"]
