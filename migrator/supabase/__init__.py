"""The history that Supabase's own CLI keeps, written beside ours where that is asked for."""
