"""The first scores that `mzt init` writes: for the shell, an agent, a model behind HTTP."""

from __future__ import annotations

FIRST_SCORE = """\
# {name}.yaml: written by `mzt init`.
#
#   mzt validate {name}.yaml      check it and see its plan
#   mzt run {name}.yaml           run it
#   mzt status {name}             where it stands
#   mzt fields                    what else can stand here

name: {quoted}
description: A first score
workspace: {name}.workspace # what the sheets make goes here

# `cli` runs the template below as a bash script. To let an agent do the work, name its
# instrument instead (`mzt instruments list`) and write the template as a prompt.
instrument: cli
instrument_config:
  timeout_seconds: 300

sheet:
  size: 1
  total_items: 3 # three sheets, one after the other
  descriptions:
    1: Gather
    2: Work
    3: Sum up

retry:
  max_retries: 1
  base_delay_seconds: 2

cross_sheet:
  auto_capture_stdout: true # what a sheet prints is known to the next ones

prompt:
  template: |
    set -eu
    {{% if sheet_num == 1 -%}}
    echo 'a note from the first sheet' | tee note-1.txt
    {{% else -%}}
    # Text of other sheets is foreign to a script: `quote` keeps it from being run.
    printf 'sheet %s read: %s\\n' {{{{ sheet_num }}}} {{{{ previous_outputs[sheet_num - 1] | trim | quote }}}} |
      tee note-{{{{ sheet_num }}}}.txt
    {{% endif %}}

validations:
  - type: file_exists
    path: "{{workspace}}/note-{{sheet_num}}.txt"
    description: every sheet leaves its note
"""

AGENT_SCORE = """\
# {name}.yaml: written by `mzt init`.
#
#   mzt validate {name}.yaml      check it and see its plan
#   mzt run {name}.yaml           run it
#   mzt logs {name} -f            what the agent does
#   mzt fields                    what else can stand here

name: {quoted}
description: A first score
workspace: {name}.workspace # what the agent makes goes here

instrument: {instrument} # others: mzt instruments list
instrument_config:
  timeout_seconds: 600
  # model: {model}
  # skip_permissions: false # true unless it is said: there is nobody who could be asked

sheet:
  size: 1
  total_items: 2 # two sheets, one after the other, each a turn of the agent
  descriptions:
    1: Gather
    2: Sum up

retry:
  max_retries: 1
  max_completion_attempts: 0

prompt:
  template: |
    {{% if sheet_num == 1 -%}}
    Write the file notes.md: three short facts about music conductors, one a line.
    {{% else -%}}
    Read the file notes.md and write the file summary.md: one sentence that sums it up.
    {{% endif %}}

validations:
  - type: content_regex # the file is there, and something is written in it
    path: "{{workspace}}/notes.md"
    pattern: \\w
    description: the notes are there
  - type: content_regex
    path: "{{workspace}}/summary.md"
    pattern: \\w
    condition: "sheet_num == 2"
    description: the summary is there
"""

ANSWER_SCORE = """\
# {name}.yaml: written by `mzt init`.
#
#   mzt validate {name}.yaml      check it and see its plan
#   mzt run {name}.yaml           run it
#   mzt logs {name}               what the model answered
#   mzt fields                    what else can stand here

name: {quoted}
description: A first score
workspace: {name}.workspace

instrument: {instrument} # it answers text and has no tools; others: mzt instruments list
instrument_config:
  timeout_seconds: 300
  # model: {model}

sheet:
  size: 1
  total_items: 2 # two sheets, one after the other, each a question to the model
  descriptions:
    1: Gather
    2: Sum up

retry:
  max_retries: 1

cross_sheet:
  auto_capture_stdout: true # what one sheet answers is known to the next ones

prompt:
  template: |
    {{% if sheet_num == 1 -%}}
    Tell three short facts about music conductors, one a line.
    {{% else -%}}
    Sum this up in one sentence:
    {{{{ previous_outputs[1] }}}}
    {{% endif %}}

# There are no validations: an answer is no file that could be looked at.
"""
