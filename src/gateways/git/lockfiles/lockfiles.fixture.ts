/** Lock files as the tools themselves wrote them (npm 11, pnpm 7 to 9, yarn 1 and 4), and others after their documentation; only the hosts are others. */

const npm1 = `{
  "name": "billing",
  "version": "1.0.0",
  "lockfileVersion": 1,
  "requires": true,
  "dependencies": {
    "@sindresorhus/is": {
      "version": "4.6.0",
      "resolved": "https://packages.acme.example/npm/@sindresorhus/is/-/is-4.6.0.tgz",
      "integrity": "sha512-t09vSN3MdfsyCHoFcTRCH/iUtG7OJ0CsjzB8cjAmKc/va/kIgeDI/TxsigdncE/4be734m0cvIYwNaV4i2XqAw=="
    },
    "debug": {
      "version": "4.4.3",
      "resolved": "https://packages.acme.example/npm/debug/-/debug-4.4.3.tgz",
      "integrity": "sha512-RGwwWnwQvkVfavKVt22FGLw+xYSdzARwm0ru6DhTVA3umU5hZc28V3kO4stgYryrTlLpuvgI9GiijltAjNbcqA==",
      "dev": true,
      "requires": {
        "ms": "^2.1.3"
      }
    },
    "ms": {
      "version": "2.1.3",
      "resolved": "https://packages.acme.example/npm/ms/-/ms-2.1.3.tgz",
      "integrity": "sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==",
      "dev": true
    },
    "renamed": {
      "version": "npm:left-pad@1.3.0",
      "resolved": "https://packages.acme.example/npm/left-pad/-/left-pad-1.3.0.tgz",
      "integrity": "sha512-XI5MPzVNApjAyhQzphX8BkmKsKUxD4LdyK24iZeQGinBN9yTQT3bFlCBy/aVx2HrNcqQGsdot8ghrjyrvMCoEA=="
    }
  }
}
`;

const npm3 = `{
  "name": "billing",
  "version": "1.0.0",
  "lockfileVersion": 3,
  "requires": true,
  "packages": {
    "": {
      "name": "billing",
      "version": "1.0.0",
      "dependencies": {
        "@sindresorhus/is": "^4.6.0",
        "renamed": "npm:left-pad@^1.3.0"
      },
      "devDependencies": {
        "debug": "^4.3.4"
      }
    },
    "node_modules/@sindresorhus/is": {
      "version": "4.6.0",
      "resolved": "https://packages.acme.example/npm/@sindresorhus/is/-/is-4.6.0.tgz",
      "integrity": "sha512-t09vSN3MdfsyCHoFcTRCH/iUtG7OJ0CsjzB8cjAmKc/va/kIgeDI/TxsigdncE/4be734m0cvIYwNaV4i2XqAw==",
      "license": "MIT",
      "engines": {
        "node": ">=10"
      },
      "funding": {
        "url": "https://github.com/sindresorhus/is?sponsor=1"
      }
    },
    "node_modules/debug": {
      "version": "4.4.3",
      "resolved": "https://packages.acme.example/npm/debug/-/debug-4.4.3.tgz",
      "integrity": "sha512-RGwwWnwQvkVfavKVt22FGLw+xYSdzARwm0ru6DhTVA3umU5hZc28V3kO4stgYryrTlLpuvgI9GiijltAjNbcqA==",
      "dev": true,
      "license": "MIT",
      "dependencies": {
        "ms": "^2.1.3"
      },
      "engines": {
        "node": ">=6.0"
      },
      "peerDependenciesMeta": {
        "supports-color": {
          "optional": true
        }
      }
    },
    "node_modules/ms": {
      "version": "2.1.3",
      "resolved": "https://packages.acme.example/npm/ms/-/ms-2.1.3.tgz",
      "integrity": "sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==",
      "dev": true,
      "license": "MIT"
    },
    "node_modules/renamed": {
      "name": "left-pad",
      "version": "1.3.0",
      "resolved": "https://packages.acme.example/npm/left-pad/-/left-pad-1.3.0.tgz",
      "integrity": "sha512-XI5MPzVNApjAyhQzphX8BkmKsKUxD4LdyK24iZeQGinBN9yTQT3bFlCBy/aVx2HrNcqQGsdot8ghrjyrvMCoEA==",
      "license": "WTFPL"
    }
  }
}
`;

const pnpm5 = `lockfileVersion: 5.4

specifiers:
  '@sindresorhus/is': ^4.6.0
  debug: ^4.3.4
  renamed: npm:left-pad@^1.3.0

dependencies:
  '@sindresorhus/is': 4.6.0
  renamed: /left-pad/1.3.0

devDependencies:
  debug: 4.4.3

packages:

  /@sindresorhus/is/4.6.0:
    resolution: {integrity: sha512-t09vSN3MdfsyCHoFcTRCH/iUtG7OJ0CsjzB8cjAmKc/va/kIgeDI/TxsigdncE/4be734m0cvIYwNaV4i2XqAw==}
    engines: {node: '>=10'}
    dev: false

  /debug/4.4.3:
    resolution: {integrity: sha512-RGwwWnwQvkVfavKVt22FGLw+xYSdzARwm0ru6DhTVA3umU5hZc28V3kO4stgYryrTlLpuvgI9GiijltAjNbcqA==}
    engines: {node: '>=6.0'}
    peerDependencies:
      supports-color: '*'
    peerDependenciesMeta:
      supports-color:
        optional: true
    dependencies:
      ms: 2.1.3
    dev: true

  /left-pad/1.3.0:
    resolution: {integrity: sha512-XI5MPzVNApjAyhQzphX8BkmKsKUxD4LdyK24iZeQGinBN9yTQT3bFlCBy/aVx2HrNcqQGsdot8ghrjyrvMCoEA==}
    dev: false

  /ms/2.1.3:
    resolution: {integrity: sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==}
    dev: true
`;

const pnpm6 = `lockfileVersion: '6.0'

settings:
  autoInstallPeers: true
  excludeLinksFromLockfile: false

dependencies:
  '@sindresorhus/is':
    specifier: ^4.6.0
    version: 4.6.0
  renamed:
    specifier: npm:left-pad@^1.3.0
    version: /left-pad@1.3.0

devDependencies:
  debug:
    specifier: ^4.3.4
    version: 4.4.3

packages:

  /@sindresorhus/is@4.6.0:
    resolution: {integrity: sha512-t09vSN3MdfsyCHoFcTRCH/iUtG7OJ0CsjzB8cjAmKc/va/kIgeDI/TxsigdncE/4be734m0cvIYwNaV4i2XqAw==}
    engines: {node: '>=10'}
    dev: false

  /debug@4.4.3:
    resolution: {integrity: sha512-RGwwWnwQvkVfavKVt22FGLw+xYSdzARwm0ru6DhTVA3umU5hZc28V3kO4stgYryrTlLpuvgI9GiijltAjNbcqA==}
    engines: {node: '>=6.0'}
    peerDependencies:
      supports-color: '*'
    peerDependenciesMeta:
      supports-color:
        optional: true
    dependencies:
      ms: 2.1.3
    dev: true

  /left-pad@1.3.0:
    resolution: {integrity: sha512-XI5MPzVNApjAyhQzphX8BkmKsKUxD4LdyK24iZeQGinBN9yTQT3bFlCBy/aVx2HrNcqQGsdot8ghrjyrvMCoEA==}
    dev: false

  /ms@2.1.3:
    resolution: {integrity: sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==}
    dev: true
`;

const pnpm9 = `lockfileVersion: '9.0'

settings:
  autoInstallPeers: true
  excludeLinksFromLockfile: false

importers:

  .:
    dependencies:
      '@sindresorhus/is':
        specifier: ^4.6.0
        version: 4.6.0
      renamed:
        specifier: npm:left-pad@^1.3.0
        version: left-pad@1.3.0
    devDependencies:
      debug:
        specifier: ^4.3.4
        version: 4.4.3

packages:

  '@sindresorhus/is@4.6.0':
    resolution: {integrity: sha512-t09vSN3MdfsyCHoFcTRCH/iUtG7OJ0CsjzB8cjAmKc/va/kIgeDI/TxsigdncE/4be734m0cvIYwNaV4i2XqAw==}
    engines: {node: '>=10'}

  debug@4.4.3:
    resolution: {integrity: sha512-RGwwWnwQvkVfavKVt22FGLw+xYSdzARwm0ru6DhTVA3umU5hZc28V3kO4stgYryrTlLpuvgI9GiijltAjNbcqA==}
    engines: {node: '>=6.0'}
    peerDependencies:
      supports-color: '*'
    peerDependenciesMeta:
      supports-color:
        optional: true

  left-pad@1.3.0:
    resolution: {integrity: sha512-XI5MPzVNApjAyhQzphX8BkmKsKUxD4LdyK24iZeQGinBN9yTQT3bFlCBy/aVx2HrNcqQGsdot8ghrjyrvMCoEA==}

  ms@2.1.3:
    resolution: {integrity: sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==}

snapshots:

  '@sindresorhus/is@4.6.0': {}

  debug@4.4.3:
    dependencies:
      ms: 2.1.3

  left-pad@1.3.0: {}

  ms@2.1.3: {}
`;

const yarnClassic = `# THIS IS AN AUTOGENERATED FILE. DO NOT EDIT THIS FILE DIRECTLY.
# yarn lockfile v1


"@sindresorhus/is@^4.6.0":
  version "4.6.0"
  resolved "https://packages.acme.example/npm/@sindresorhus/is/-/is-4.6.0.tgz#3c7c9c46e678feefe7a2e5bb609d3dbd665ffb3f"
  integrity sha512-t09vSN3MdfsyCHoFcTRCH/iUtG7OJ0CsjzB8cjAmKc/va/kIgeDI/TxsigdncE/4be734m0cvIYwNaV4i2XqAw==

debug@^4.3.4:
  version "4.4.3"
  resolved "https://packages.acme.example/npm/debug/-/debug-4.4.3.tgz#c6ae432d9bd9662582fce08709b038c58e9e3d6a"
  integrity sha512-RGwwWnwQvkVfavKVt22FGLw+xYSdzARwm0ru6DhTVA3umU5hZc28V3kO4stgYryrTlLpuvgI9GiijltAjNbcqA==
  dependencies:
    ms "^2.1.3"

ms@^2.1.3:
  version "2.1.3"
  resolved "https://packages.acme.example/npm/ms/-/ms-2.1.3.tgz#574c8138ce1d2b5861f0b44579dbadd60c6615b2"
  integrity sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==

"renamed@npm:left-pad@^1.3.0":
  version "1.3.0"
  resolved "https://packages.acme.example/npm/left-pad/-/left-pad-1.3.0.tgz#5b8a3a7765dfe001261dde915589e782f8c94d1e"
  integrity sha512-XI5MPzVNApjAyhQzphX8BkmKsKUxD4LdyK24iZeQGinBN9yTQT3bFlCBy/aVx2HrNcqQGsdot8ghrjyrvMCoEA==
`;

const yarnBerry = `# This file is generated by running "yarn install" inside your project.
# Manual changes might be lost - proceed with caution!

__metadata:
  version: 10
  cacheKey: 10c0

"@sindresorhus/is@npm:^4.6.0":
  version: 4.6.0
  resolution: "@sindresorhus/is@npm:4.6.0"
  checksum: 10c0/33b6fb1d0834ec8dd7689ddc0e2781c2bfd8b9c4e4bacbcb14111e0ae00621f2c264b8a7d36541799d74888b5dccdf422a891a5cb5a709ace26325eedc81e22e
  languageName: node
  linkType: hard

"billing@workspace:.":
  version: 0.0.0-use.local
  resolution: "billing@workspace:."
  dependencies:
    "@sindresorhus/is": "npm:^4.6.0"
    debug: "npm:^4.3.4"
    renamed: "npm:left-pad@^1.3.0"
  languageName: unknown
  linkType: soft

"debug@npm:^4.3.4":
  version: 4.4.3
  resolution: "debug@npm:4.4.3"
  dependencies:
    ms: "npm:^2.1.3"
  peerDependenciesMeta:
    supports-color:
      optional: true
  checksum: 10c0/d79136ec6c83ecbefd0f6a5593da6a9c91ec4d7ddc4b54c883d6e71ec9accb5f67a1a5e96d00a328196b5b5c86d365e98d8a3a70856aaf16b4e7b1985e67f5a6
  languageName: node
  linkType: hard

"ms@npm:^2.1.3":
  version: 2.1.3
  resolution: "ms@npm:2.1.3"
  checksum: 10c0/d924b57e7312b3b63ad21fc5b3dc0af5e78d61a1fc7cfb5457edaf26326bf62be5307cc87ffb6862ef1c2b33b0233cdb5d4f01c4c958cc0d660948b65a287a48
  languageName: node
  linkType: hard

"renamed@npm:left-pad@^1.3.0":
  version: 1.3.0
  resolution: "left-pad@npm:1.3.0"
  checksum: 10c0/3fb59c76e281a2f5c810ad71dbbb8eba8b10c6cf94733dc7f27b8c516a5376cacea53543e76f6ae477d866c8954b27f1e15ca349424c2542474eb5bb1d2b6955
  languageName: node
  linkType: hard
`;

const requirements = `#
# This file is autogenerated by pip-compile with Python 3.11
#
--index-url https://packages.acme.example/simple

certifi==2024.7.4 \\
    --hash=sha256:1111111111111111111111111111111111111111111111111111111111111111 \\
    --hash=sha256:2222222222222222222222222222222222222222222222222222222222222222
    # via -r requirements.in
idna[all]==3.7 ; python_version >= "3.8" \\
    --hash=sha256:3333333333333333333333333333333333333333333333333333333333333333
`;

const poetry = `# This file is automatically @generated by Poetry 1.8.3 and should not be changed by hand.

[[package]]
name = "certifi"
version = "2024.7.4"
description = "Python package for providing Mozilla's CA Bundle."
optional = false
python-versions = ">=3.6"
files = [
    {file = "certifi-2024.7.4-py3-none-any.whl", hash = "sha256:1111111111111111111111111111111111111111111111111111111111111111"},
    {file = "certifi-2024.7.4.tar.gz", hash = "sha256:2222222222222222222222222222222222222222222222222222222222222222"},
]

[[package]]
name = "idna"
version = "3.7"
description = "Internationalized Domain Names in Applications (IDNA)"
optional = false
python-versions = ">=3.5"
files = [
    {file = "idna-3.7-py3-none-any.whl", hash = "sha256:3333333333333333333333333333333333333333333333333333333333333333"},
]

[package.source]
type = "legacy"
url = "https://packages.acme.example/simple"
reference = "acme"

[metadata]
lock-version = "2.0"
python-versions = "^3.8"
content-hash = "3333333333333333333333333333333333333333333333333333333333333333"
`;

const uv = `version = 1
revision = 2
requires-python = ">=3.10"

[[package]]
name = "billing"
version = "1.0"
source = { virtual = "." }
dependencies = [
    { name = "certifi" },
    { name = "idna" },
]

[package.metadata]
requires-dist = [{ name = "certifi" }]

[[package]]
name = "certifi"
version = "2024.7.4"
source = { registry = "https://packages.acme.example/simple" }
sdist = { url = "https://packages.acme.example/files/certifi-2024.7.4.tar.gz", hash = "sha256:1111111111111111111111111111111111111111111111111111111111111111", size = 168065 }
wheels = [
    { url = "https://packages.acme.example/files/certifi-2024.7.4-py3-none-any.whl", hash = "sha256:2222222222222222222222222222222222222222222222222222222222222222", size = 162960 },
]

[[package]]
name = "idna"
version = "3.7"
source = { registry = "https://packages.acme.example/simple" }
wheels = [
    { url = "https://packages.acme.example/files/idna-3.7-py3-none-any.whl", hash = "sha256:3333333333333333333333333333333333333333333333333333333333333333", size = 66836 },
]
`;

const pipfile = `{
    "_meta": {
        "hash": { "sha256": "3333333333333333333333333333333333333333333333333333333333333333" },
        "pipfile-spec": 6,
        "requires": { "python_version": "3.11" },
        "sources": [
            { "name": "acme", "url": "https://packages.acme.example/simple", "verify_ssl": true }
        ]
    },
    "default": {
        "certifi": {
            "hashes": [
                "sha256:1111111111111111111111111111111111111111111111111111111111111111",
                "sha256:2222222222222222222222222222222222222222222222222222222222222222"
            ],
            "index": "acme",
            "markers": "python_version >= '3.6'",
            "version": "==2024.7.4"
        }
    },
    "develop": {
        "idna": { "hashes": ["sha256:3333333333333333333333333333333333333333333333333333333333333333"], "version": "==3.7" }
    }
}
`;

const pylock = `lock-version = "1.0"
created-by = "uv"
requires-python = ">=3.12"

[[packages]]
name = "certifi"
version = "2024.7.4"
index = "https://packages.acme.example/simple"
sdist = { url = "https://packages.acme.example/files/certifi-2024.7.4.tar.gz", hashes = { sha256 = "1111111111111111111111111111111111111111111111111111111111111111" } }

[[packages.wheels]]
name = "certifi-2024.7.4-py3-none-any.whl"
url = "https://packages.acme.example/files/certifi-2024.7.4-py3-none-any.whl"
upload-time = 2024-07-04T01:36:09Z
size = 162960
hashes = { sha256 = "2222222222222222222222222222222222222222222222222222222222222222" }

[[packages]]
name = "idna"
version = "3.7"
index = "https://packages.acme.example/simple"
wheels = [
    { url = "https://packages.acme.example/files/idna-3.7-py3-none-any.whl", hashes = { sha256 = "3333333333333333333333333333333333333333333333333333333333333333" } },
]
`;

export const fixtures = {
  npm1,
  npm3,
  pnpm5,
  pnpm6,
  pnpm9,
  yarnClassic,
  yarnBerry,
  requirements,
  poetry,
  uv,
  pipfile,
  pylock,
};
