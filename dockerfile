# HVR-SSLE for training and enhancing on NVIDIA cards.
#
#   docker build -t hvr-ssle:latest -f dockerfile .
#   docker run --gpus all -v $PWD:/workspace/app -it hvr-ssle:latest
#   docker run --gpus all -p 127.0.0.1:7860:7860 hvr-ssle:latest python app.py --host 0.0.0.0
#
# CUDA 13.0 needs an NVIDIA driver of series 580 or newer. For older drivers take another official image of torch 2.11 or
# newer: docker build --build-arg PYTORCH_IMAGE=pytorch/pytorch:<tag>-runtime ...
ARG PYTORCH_IMAGE=pytorch/pytorch:2.11.0-cuda13.0-cudnn9-runtime
FROM ${PYTORCH_IMAGE}

# The image's Python is the environment: the scripts make no other one in it, and pip may install into it.
ENV HVR_SKIP_SETUP=1 \
    PIP_BREAK_SYSTEM_PACKAGES=1 \
    PYTHONUNBUFFERED=1

# Compilers: torch.compile and Triton build their kernels on first use.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc g++ libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && { command -v python || ln -s "$(command -v python3)" /usr/local/bin/python; }

# One layer for all packages, made anew only when a requirements file changes. The constraints keep the image's own torch.
COPY requirements.txt requirements-app.txt requirements-metrics.txt requirements-video.txt /tmp/requirements/
RUN python -c "from importlib.metadata import version; print(*(f'{name}=={version(name)}' for name in ('torch', 'torchvision')), sep='\n')" \
        > /tmp/requirements/image.txt \
    && python -m pip install --no-cache-dir -r /tmp/requirements/requirements.txt -r /tmp/requirements/requirements-app.txt \
        -r /tmp/requirements/requirements-video.txt -c /tmp/requirements/image.txt \
    && python -m pip install --no-cache-dir --no-deps -r /tmp/requirements/requirements-metrics.txt \
    && python -c "import accelerate, av, cv2, gradio, imagecodecs, pillow_heif, pyiqa, pyvips, rawpy, tifffile, torch, torchvision"

# A user without rights. The home folder is open to every uid, for: docker run --user "$(id -u):$(id -g)"
RUN useradd --create-home --non-unique --uid 1000 hvr \
    && chmod 1777 /home/hvr \
    && install --directory --owner=hvr /workspace/app
ENV HOME=/home/hvr \
    USER=hvr

WORKDIR /workspace/app
COPY --chown=hvr . .
USER 1000
CMD ["bash"]
