// This file is the certificates for wstunnel, whose server speaks plain HTTP only: `node --require` loads it first.
// The server gets Node's own TLS, and both ends show a certificate and check the other's.
const fs = require('fs');
const http = require('http');
const https = require('https');
const tls = require('tls');

const [authority, certificate, key] = process.env.BENCHMARK_CERTIFICATES.split(':').map((path) => fs.readFileSync(path));
const ours = { ca: authority, cert: certificate, key, minVersion: 'TLSv1.3' };

http.createServer = (handler) => https.createServer({ ...ours, requestCert: true, rejectUnauthorized: true }, handler);
const connect = tls.connect;
tls.connect = (options, ready) => connect({ ...options, ...ours }, ready);
