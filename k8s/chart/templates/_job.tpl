{{- /* The Job's spec: .phase is "pre" or "post", beside what a template has. */ -}}
{{- define "migrator.job" -}}
backoffLimit: {{ .Values.backoffLimit }}
activeDeadlineSeconds: {{ .Values.activeDeadlineSeconds }}
{{- if eq .Values.mode "revision" }}
ttlSecondsAfterFinished: 86400
{{- end }}
podFailurePolicy:
  rules:
    # A bug (1), a wrong setting (2), something to fix (1x): another pod would end the same way.
    - action: FailJob
      onExitCodes:
        containerName: migrate
        operator: In
        values: [1, 2, 10, 11, 12, 13, 14, 15, 16, 17]
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
          status: "True"
template:
  metadata:
    labels:
      {{- include "migrator.labels" . | nindent 6 }}
      {{- with .Values.podLabels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with .Values.podAnnotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    restartPolicy: Never
    terminationGracePeriodSeconds: 30
    automountServiceAccountToken: false
    enableServiceLinks: false
    securityContext:
      runAsNonRoot: true
      {{- if not (kindIs "invalid" .Values.runAsUser) }}
      runAsUser: {{ int .Values.runAsUser }}
      runAsGroup: {{ int .Values.runAsUser }}
      {{- end }}
      seccompProfile:
        type: RuntimeDefault
    {{- with .Values.image.pullSecrets }}
    imagePullSecrets:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .Values.nodeSelector }}
    nodeSelector:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .Values.tolerations }}
    tolerations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    containers:
      - name: migrate
        image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
        imagePullPolicy: {{ .Values.image.pullPolicy }}
        args: [up]
        env:
          {{- include "migrator.where" . | nindent 10 }}
          - name: HOSTNAME
            valueFrom:
              fieldRef:
                fieldPath: metadata.name
          - name: DEADLINE
            value: {{ .Values.deadline | quote }}
          - name: WAIT_TIMEOUT
            value: {{ .Values.waitTimeout | quote }}
          {{- if ne .Values.phase "all" }}
          - name: PHASE
            value: {{ .phase }}
          {{- end }}
        {{- include "migrator.settings" . | nindent 8 }}
        {{- include "migrator.closed" . | nindent 8 }}
        resources:
          {{- toYaml .Values.resources | nindent 10 }}
{{- end }}
