{{- define "migrator.name" -}}
{{- /* With -post- and the revision behind it, a Job's name has 63 characters at most. */ -}}
{{- printf "%s-migrator" .Release.Name | trunc 47 | trimSuffix "-" -}}
{{- end }}

{{- define "migrator.labels" -}}
app.kubernetes.io/name: migrator
app.kubernetes.io/component: migration
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* What a hook needs must be a hook too, and come before it. */ -}}
{{- define "migrator.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation
{{- end }}

{{- define "migrator.where" -}}
- name: DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.existingSecret | default (include "migrator.name" .) }}
      key: {{ .Values.secretKey }}
{{- end }}

{{- define "migrator.closed" -}}
terminationMessagePath: /dev/termination-log
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: [ALL]
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "migrator.settings" -}}
envFrom:
  - configMapRef:
      name: {{ include "migrator.name" . }}
{{- end }}

{{- /*
An initContainer for the application's pods: they start once the database holds what the image ships.
In this chart: include "migrator.wait" . ; in a chart that has this one as a dependency "migrator":
include "migrator.wait" (dict "Values" .Values.migrator "Release" .Release)
*/ -}}
{{- define "migrator.wait" -}}
- name: wait-for-schema
  image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [wait]
  env:
    {{- include "migrator.where" . | nindent 4 }}
  {{- include "migrator.settings" . | nindent 2 }}
  {{- include "migrator.closed" . | nindent 2 }}
  resources:
    requests: {cpu: 10m, memory: 64Mi}
    limits: {memory: 128Mi}
{{- end }}
