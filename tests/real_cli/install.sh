#!/usr/bin/env bash
# Brings the programs that tests/real_cli plays into FOLDER, at the versions that the built-in profiles
# were checked against ("Checked against ..."). What is there already is left as it is.
#
# Usage: install.sh [FOLDER]     default: $MZT_REAL_CLI, else marianne-real-cli in the user's cache folder
#
# npm and pip are used as they are set up on this machine. About 2.5 GB.
set -euo pipefail
profiles="$(cd "$(dirname "$0")/../.." && pwd)/core/marianne_core/config/builtin"
folder=${1:-${MZT_REAL_CLI:-${XDG_CACHE_HOME:-$HOME/.cache}/marianne-real-cli}}
mkdir -p "$folder"
cd "$folder"

version() { # of a profile
    sed -nE 's/^#.*Checked against ([0-9]+(\.[0-9]+)*).*/\1/p' "$profiles/$1.yaml" | head -n 1
}

wanted=()
want() { # PACKAGE VERSION
    local there
    there=$(node -p 'require(process.argv[1]).version' "$folder/node_modules/$1/package.json" 2>/dev/null || true)
    [ "$there" = "$2" ] || wanted+=("$1@$2")
}
want @anthropic-ai/claude-code "$(version claude-code)"
want @openai/codex "$(version codex-cli)"
want opencode-ai "$(version opencode)"
want @google/gemini-cli "$(version gemini-cli)"
want cline "$(version cline-cli)"
if [ "${#wanted[@]}" -gt 0 ]; then
    [ -e package.json ] || echo '{"private": true}' >package.json
    npm install --save-exact --no-audit --no-fund "${wanted[@]}"
fi

aider=$(version aider)
if [ "$(python/bin/python -c 'from importlib.metadata import version as v; print(v("aider-chat"))' 2>/dev/null || true)" != "$aider" ]; then
    [ -e python/bin/python ] || "${PYTHON:-python3}" -m venv python
    python/bin/pip install --quiet "aider-chat==$aider"
fi

for program in claude codex opencode gemini cline; do
    printf '%-9s ' "$program"
    "node_modules/.bin/$program" --version </dev/null 2>/dev/null | tail -n 1
done
printf '%-9s ' aider
python/bin/aider --version </dev/null | tail -n 1
echo "in $folder"
