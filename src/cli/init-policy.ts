/** What `cordon init` writes: everything is there to be read, and what is switched on changes nothing for the worse. */
export const examplePolicy = `# What an agent may do in this repository. What no rule permits is denied.
# A run reads this file at the commit it starts from, never from what the agent wrote.
# Check it with \`cordon policy check\`; ask it with \`cordon policy explain\`.
version: 1

# Which programs may run. Each is resolved to the file and its SHA-256 when the run starts, so that a copy, a link or a
# changed PATH does not help. Without a list: everything in the machine's /usr. Allowing an interpreter (sh, node,
# python) allows any script within the boundary.
# security:
#   allowed_commands: [/usr/bin/git, /usr/bin/node, /usr/bin/npm]

# Parts of the repository: what is checked out, what may change.
# filesystem:
#   checkout: ["services/billing/**"]
#   write: ["services/billing/**"]

# What may be delivered; and fetched, beside the branch that a run starts from (nothing, unless it is named here).
git:
  # fetch:
  #   depth: 50
  #   refs: ["release/**", "refs/tags/v*"]
  push:
    branches: ["cordon/**"]
    force: deny
    delete: deny
    tags: deny
    secrets: deny          # what looks like a credential in any new file or message
    # max_changed_lines: 2000
    # max_file_size: 5mb

# Packages from npm and PyPI: what comes from these hosts (open them above) is judged by name and age, and recorded.
# dependencies:
#   registries: [packages.acme.example]
#   minimum_age: 3d
#   allow: ["@acme/*", lodash, "pypi:requests"]
#   deny: [event-stream]

# MCP servers: tools from outside the agent. Each runs in a sandbox of its own, or is reached through the gateway; only
# the tools named here can be called (docs/mcp.md).
# mcp_servers:
#   docs: {command: [/usr/bin/node, tools/docs-server.mjs], workspace: read, tools: [search, "get_*"]}
#   tracker: {url: "https://mcp.acme.example/mcp", secret: TRACKER_TOKEN, tools: [list_issues]}

limits: {memory: 2g, cpus: 2, pids: 512, disk: 4g, wall_clock: 30m}

# For what the lines above cannot say: Cedar, https://docs.cedarpolicy.com
# rules: |
#   forbid (principal, action == Action::"git.push", resource) when { context.changedLines > 500 };

# Run at every load: a policy that does not do what is written here is refused.
# tests:
#   - {action: net.connect, host: "evil.example:443", expect: deny}
`;
