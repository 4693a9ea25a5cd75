# The service, as a small image that runs as nobody in particular and writes nothing: docker build -t threadline .
# docs/deployment.md tells how it is run; test/deploy-image.test.ts does the same steps without Docker.

FROM node:24-bookworm-slim AS source
WORKDIR /app
COPY package.json package-lock.json ./

# The scripts of packages are not run: nothing that the service needs is made by one.
FROM source AS build
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN node_modules/.bin/tsc -p tsconfig.build.json

FROM source AS modules
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

# Node's own binary on the same C library that the tests run on, without npm, a compiler, or anything else to keep up to date.
FROM debian:bookworm-slim
COPY --from=source /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
COPY package.json ./
COPY --from=modules /app/node_modules node_modules
COPY --from=build /app/dist dist

ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 AGENTS_DIR=/app/dist/agents DATA_DIR=/data
# By its number, so that an orchestrator can see that it is not root.
USER 65532:65532
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health/ready`).then(({ ok }) => { process.exitCode = ok ? 0 : 1 }, () => { process.exitCode = 1 })"]
# Node is process 1 and takes the signals itself; it starts no others with DATABASE_URL.
ENTRYPOINT ["node", "--enable-source-maps", "--import", "./dist/telemetry.js", "node_modules/fastify-cli/cli.js", "start", "-c", "dist/fastify.config.js", "dist/app.js"]
